# SPDX-License-Identifier: Apache-2.0
"""What to do about each reason: a condition that only complains sends people to the logs."""

from __future__ import annotations

from endcap_operator.plan.pods import Failure

_ARTEFACT = "Push the artefact again, or set its uri to one that works"
_NETWORK = "Check that its host is right and can be reached from the cluster; it is tried again by itself"
REMEDIES = {
    "ArtefactInvalid": _ARTEFACT,
    "ArtefactNotFound": "Check the uri, and push the artefact: `endcap model push` prints uri and sha256",
    "ArtefactRefused": "Use a public host, the platform's S3 store or a claim; the platform team lists other hosts",
    "ArtefactTooLarge": "Make the artefact smaller, or ask the platform team for a higher limit",
    "ArtefactUnreachable": _NETWORK,
    "CatalogueInvalid": "Correct the catalogue, push it, and set catalogue.uri and catalogue.sha256",
    "ChildRefused": "Do what the API server asks for (a quota, a policy, a right); it is tried again by itself",
    "CrashLoop": "Read why with `kubectl logs`, for the pod and the container that are named",
    "Conflict": "Change one of the two, or delete the other; this one takes no traffic until then",
    "CreateContainerConfigError": "Check the Secret and the claim that the spec names",
    "DigestMismatch": "Set sha256 to the digest of the artefact that is meant, or uri to the right artefact",
    "EventsLate": "Raise spec.ingest.replicas of the FeatureStore, and see `kubectl describe fs` for it",
    "FailedCreate": "Raise the quota, or lower spec.resources or spec.replicas",
    "FeatureBundleInvalid": "Correct the FeatureBundle, see `kubectl describe fb`; what it was before is still served",
    "FeatureBundleNotFound": "Apply a FeatureBundle of that name in this namespace, or correct the name",
    "FeatureStoreNotFound": "Apply a FeatureStore of that name in this namespace, or correct the name",
    "FeatureStoreNotReady": "See `kubectl describe fs` for it; features are stale or defaults meanwhile",
    "FeatureViewInvalid": "Correct the FeatureView, see `kubectl describe fv`; what it was before is still served",
    "FeatureViewNotFound": "Apply a FeatureView of that name in this namespace, or correct the name",
    "FeaturesUnavailable": "Read why with `kubectl logs`, for the container features; it is asked again by itself",
    "GraphNotFound": "Apply an InferenceGraph of that name in this namespace, or correct spec.graph",
    "GraphNotReady": "See `kubectl describe ig` for it; it goes on by itself",
    "GuardrailBreached": "Everyone gets the baseline; see status.guardrails for the figures",
    "HookLoadFailed": "Correct the hook in the artefact, or preprocess and postprocess in the spec",
    "ImagePullFailed": "Check the images that the operator was installed with, and their pull credentials",
    "MetricsStale": "See `kubectl describe fs`, and whether events reach the ingest; there is no verdict until then",
    "ModelNotFound": "Apply a ModelDeployment of that name in this namespace, or correct the step",
    "ModelNotReady": "See `kubectl describe mdep` for it; the graph answers without it meanwhile",
    "ModelLoadFailed": "Correct the artefact, or framework and model.entryPoint in the spec",
    "IngestSilent": "See `kubectl describe fs` for the FeatureStore; its ingest pods answer when they are ready",
    "InvalidSpec": "Correct the fields that are named; what was accepted before, if anything was, is still served",
    "NeverWritten": "Write rows with `endcap features load`, or let a graph write back",
    "NameTaken": "Rename this resource, or delete the object that has its name",
    "OOMKilled": "Raise spec.resources.memory",
    "Outdated": "Run the job or the graph that writes this view again, or raise spec.ttl",
    "PinnedByExperiment": "Nothing is amiss; to serve the new artefact now, delete or end the experiment",
    "PickleRefused": "Save the model as .txt or .skops, or set model.allowPickle if you made the pickle yourself",
    "RolloutStuck": "See `kubectl describe pod`; often a Secret or a claim that the spec names does not exist",
    "SampleRatioMismatch": "There will be no verdict: look for what loses exposures, and create another Experiment",
    "StoreUnreachable": "Check spec.redis, its Secret and that the Redis runs; it is asked again by itself",
    "VariantNotReady": "See `kubectl describe mdep` and `kubectl describe ig`; it goes on by itself",
    "Unschedulable": "Lower spec.resources, or add a node; a claim must exist in this namespace",
}


def waiting_for(*secrets: str) -> str:
    """What a pod that does not start may be waiting for: the kubelet tells only its own Events."""
    names = " and ".join(dict.fromkeys(secrets))
    return f" If this lasts, check that the Secret {names} is in this namespace." if names else ""


def advised(failure: Failure) -> str:
    """The failure's message and its remedy, as sentences."""
    remedy = REMEDIES.get(
        failure.cause or failure.reason, "See `kubectl describe pod` for the pods of this resource"
    )
    return " ".join(sentence(text) for text in (failure.message, remedy) if text)


def sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
