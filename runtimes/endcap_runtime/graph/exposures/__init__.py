# SPDX-License-Identifier: Apache-2.0
"""Exposures out of a graph: who met which variant, told to the ingest of a store."""

from endcap_runtime.graph.exposures.covariates import Covariate, covariates_of
from endcap_runtime.graph.exposures.form import ExposureForm, exposure_form
from endcap_runtime.graph.exposures.telling import Exposures, Passed

__all__ = ["Covariate", "ExposureForm", "Exposures", "Passed", "covariates_of", "exposure_form"]
