# SPDX-License-Identifier: Apache-2.0
"""Where the demo finds and leaves its things."""

from endcap_cluster.layout import CHECKOUT, KEPT

EXAMPLE = CHECKOUT / "examples" / "01-basket"
LIVE = CHECKOUT / "examples" / "02-live-features"
TRIAL = CHECKOUT / "examples" / "03-ab-test"
CHART = CHECKOUT / "charts" / "endcap"
CRDS = CHECKOUT / "crds"
ANSWERS = KEPT / "demo"

SYSTEM = "endcap-system"
NAMESPACE = "shop"
GRAPH = "basket"
LIVE_GRAPH = "live-basket"
FEATURE_STORE = "default"
TRIAL_GRAPH = "last-call"
EXPERIMENT = "ranker-v2"
STORE_SECRET = "model-store"  # noqa: S105 - the name of a Secret
S3_IN_CLUSTER = "s3.endcap-store.svc:7070"
