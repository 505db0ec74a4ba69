# SPDX-License-Identifier: Apache-2.0
"""CEL over columns: an expression is compiled once and answers for all candidates at once."""

from endcap_runtime.graph.expressions.compiled import Expression, compile_expression
from endcap_runtime.graph.expressions.scope import ExpressionFailed, Scope, Unavailable

__all__ = ["Expression", "ExpressionFailed", "Scope", "Unavailable", "compile_expression"]
