# SPDX-License-Identifier: Apache-2.0
"""What ingest makes of exposures and outcomes before the store counts them. Pure."""
