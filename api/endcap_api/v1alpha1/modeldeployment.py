# SPDX-License-Identifier: Apache-2.0
"""ModelDeployment: a model in any framework becomes a microservice."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from endcap_api.v1alpha1.base import (
    Duration,
    Element,
    Identifier,
    Name,
    Rule,
    SecretRef,
    Spelling,
    Text,
    keyed_by_identifiers,
)
from endcap_api.v1alpha1.pods import Replicas, Resources
from endcap_api.v1alpha1.values import Column

Framework = Literal["python", "sklearn", "lightgbm"]
PythonName = Annotated[
    str,
    StringConstraints(max_length=256),
    Spelling(
        "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$",
        "a Python object is module:name: write it as basket.features:build",
    ),
]
ArtefactUri = Annotated[
    str,
    StringConstraints(max_length=1024),
    Spelling(
        "^(s3|https?|pvc|file)://[]A-Za-z0-9._~!$&()*+,;=:@%/?[-]+$",
        "an artefact is at s3://bucket/key, https://host/path or pvc://claim/path: write its URI so, without spaces",
    ),
]
Sha256 = Annotated[
    str,
    StringConstraints(max_length=64),
    Spelling(
        "^[0-9a-f]{64}$", "a SHA-256 is 64 hexadecimal digits in lower case: copy it from endcap model push"
    ),
]


BUCKET_RULE = Rule(
    "!self.uri.startsWith('s3://') || self.uri.matches('^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.')",
    "s3:// needs a bucket and a key: names of buckets have 3 to 63 lower-case letters, digits, - and ., as in "
    "s3://models/ranker/4.txt",
)


class Model(Element):
    """The artefact: one immutable file, known by its digest."""

    rules: ClassVar[tuple[Rule, ...]] = (BUCKET_RULE,)

    uri: ArtefactUri = Field(
        description="Where the artefact is: s3://bucket/key, https://…, or pvc://claim/path. The last segment, "
        "without its suffix, is the version: s3://models/ranker/4.tar.gz is version 4."
    )
    sha256: Sha256 = Field(description="SHA-256 of the file in hexadecimal; `endcap model push` prints it.")
    secret_ref: SecretRef | None = Field(
        default=None,
        description="Credentials: keys accessKey and secretKey for s3, username and password or token for http.",
    )
    entry_point: PythonName | None = Field(
        default=None,
        description="For framework python: module:factory, called with the artefact's directory.",
    )
    allow_pickle: bool = Field(
        default=False,
        description="Load pickled objects. A pickle runs code: only for artefacts that you made yourself.",
    )


class Hook(Element):
    """A Python function in the artefact that runs in the model's pod."""

    python: PythonName = Field(description="module:function, in the artefact.")


class Batching(Element):
    """How concurrent requests are put together; a lone request never waits."""

    max_size: int = Field(default=64, ge=1, le=4096, description="Most rows that are predicted together.")
    max_latency: Duration = Field(
        default="2ms", description="Longest time that a row waits for others, e.g. 2ms."
    )


class ModelFeatures(Element):
    """Features that the model's own pod looks up and joins to its inputs, before the preprocess hook."""

    rules: ClassVar[tuple[Rule, ...]] = (keyed_by_identifiers("keys"),)

    bundle: Name = Field(description="A FeatureBundle of this namespace.")
    keys: Annotated[dict[Identifier, Identifier], Field(min_length=1, max_length=4)] = Field(
        description="For each key of the entity the input that holds it, e.g. {customer_id: customer}."
    )


class ModelDeploymentSpec(Element):
    """A model, its contract and how it runs."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *(
            Rule(
                f"self.{columns}.all(c, self.{columns}.exists_one(d, d.name == c.name))",
                f"{columns} has a name twice: rename or remove one of them",
            )
            for columns in ("inputs", "outputs")
        ),
        Rule(
            "self.framework == 'python' || !has(self.model.entryPoint)",
            "model.entryPoint goes with framework python alone: remove entryPoint, or change framework to python",
        ),
        Rule(
            "self.framework != 'python' || has(self.model.entryPoint)",
            "model.entryPoint is missing, and framework python needs it: add it, e.g. entryPoint: basket:load",
        ),
        Rule(
            "self.framework == 'python' || self.outputs.size() == 1",
            "frameworks sklearn and lightgbm have exactly one output: name the score and remove the others",
        ),
        Rule(
            "self.framework == 'python' || has(self.preprocess) || self.inputs.all(c, c.type in ['integer', "
            "'number', 'boolean'])",
            "frameworks sklearn and lightgbm take numbers: make each input integer, number or boolean, or add "
            "a preprocess hook that turns it into numbers",
        ),
        Rule(
            "!has(self.features) || self.features.keys.all(k, self.inputs.exists(c, c.name == self.features.keys[k] && "
            "c.type in ['string', 'product', 'integer']))",
            "features.keys names no input of type string, product or integer: name one that holds the key, or add it "
            "to inputs",
        ),
    )

    framework: Framework = Field(description="What loads and runs the model: python, sklearn or lightgbm.")
    description: Text | None = Field(default=None, description="What the model is for.")
    model: Model = Field(description="The artefact.")
    preprocess: Hook | None = Field(
        default=None, description="Runs before the model: columns in, columns out."
    )
    postprocess: Hook | None = Field(
        default=None, description="Runs after the model: outputs and inputs in, outputs out."
    )
    inputs: list[Column] = Field(min_length=1, max_length=256, description="Columns that a caller sends.")
    outputs: list[Column] = Field(min_length=1, max_length=64, description="Columns that come back.")
    features: ModelFeatures | None = Field(
        default=None,
        description="Features that are joined to the inputs: the model sees them as further columns, in the order of "
        "the bundle, behind the inputs.",
    )
    batching: Batching = Field(default=Batching(), description="Adaptive batching.")
    replicas: Replicas = Field(default=Replicas(), description="How many pods serve the model.")
    resources: Resources = Field(default=Resources(), description="CPU and memory of each pod.")
