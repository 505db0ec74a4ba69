# SPDX-License-Identifier: Apache-2.0
"""What to do about each reason: a condition that only complains sends people to the logs."""

from __future__ import annotations

from endcap_api.v1alpha1.base import SecretRef
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
    "CreateContainerConfigError": "Check the Secret and the claim that the spec names",
    "DigestMismatch": "Set sha256 to the digest of the artefact that is meant, or uri to the right artefact",
    "FailedCreate": "Raise the quota, or lower spec.resources or spec.replicas",
    "HookLoadFailed": "Correct the hook in the artefact, or preprocess and postprocess in the spec",
    "ImagePullFailed": "Check the images that the operator was installed with, and their pull credentials",
    "ModelNotFound": "Apply a ModelDeployment of that name in this namespace, or correct the step",
    "ModelNotReady": "See `kubectl describe mdep` for it; the graph answers without it meanwhile",
    "ModelLoadFailed": "Correct the artefact, or framework and model.entryPoint in the spec",
    "InvalidSpec": "Correct the fields that are named; what was accepted before, if anything was, is still served",
    "NameTaken": "Rename this resource, or delete the object that has its name",
    "OOMKilled": "Raise spec.resources.memory",
    "PickleRefused": "Save the model as .txt or .skops, or set model.allowPickle if you made the pickle yourself",
    "RolloutStuck": "See `kubectl describe pod`; often a Secret or a claim that the spec names does not exist",
    "Unschedulable": "Lower spec.resources, or add a node; a claim must exist in this namespace",
}


def waiting_for(secret: SecretRef | None) -> str:
    """What a pod that does not start may be waiting for: the kubelet tells only its own Events."""
    return f" If this lasts, check that the Secret {secret.name} is in this namespace." if secret else ""


def advised(failure: Failure) -> str:
    """The failure's message and its remedy, as sentences."""
    remedy = REMEDIES.get(
        failure.cause or failure.reason, "See `kubectl describe pod` for the pods of this resource"
    )
    return " ".join(sentence(text) for text in (failure.message, remedy) if text)


def sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
