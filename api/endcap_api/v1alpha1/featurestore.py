# SPDX-License-Identifier: Apache-2.0
"""FeatureStore: where features live, and the pods that bring events in."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from endcap_api.v1alpha1.base import Element, Rule, SecretRef, Span, Spelling, Text
from endcap_api.v1alpha1.pods import Memory, Replicas, Resources

_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
RedisUrl = Annotated[
    str,
    StringConstraints(max_length=512),
    Spelling(
        f"^rediss?://[A-Za-z0-9._-]+(:{_PORT})?(/(0|[1-9][0-9]?))?$",
        "a Redis is at redis://host:port or rediss://host:port (TLS): write it so, and put user and password into "
        "the Secret that secretRef names",
    ),
]


class Storage(Element):
    """A volume for the data, so that they outlive the pod."""

    size: Memory = Field(description="How much to claim, e.g. 2Gi.")
    class_name: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = Field(
        default=None, description="StorageClass of the claim; the cluster's default when it is not set."
    )


class Embedded(Element):
    """A Redis of the store's own: one instance with an append-only file."""

    fsync: Literal["always", "everysec"] = Field(
        default="everysec",
        description="When writes reach the disk. everysec: a crash loses at most the last second; always: nothing "
        "that was acknowledged, at a third of the speed.",
    )
    storage: Storage | None = Field(
        default=None,
        description="Keep the data on a volume. Without it they outlive a crash of Redis, but not its pod.",
    )
    resources: Resources = Field(default=Resources(), description="CPU and memory of the Redis pod.")


class Redis(Element):
    """A Redis of your own."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.cluster || !self.url.matches('/[1-9][0-9]?$')",
            "a Redis Cluster has database 0 alone: remove the number from redis.url",
        ),
    )

    url: RedisUrl = Field(
        description="redis://host:port[/database], or rediss:// for TLS; any node of a cluster."
    )
    secret_ref: SecretRef | None = Field(
        default=None, description="Credentials: keys password and, with access control lists, username."
    )
    cluster: bool = Field(default=False, description="Whether this is a Redis Cluster.")


class Ingest(Element):
    """The pods that take events and apply them."""

    replicas: Replicas = Field(default=Replicas(), description="How many pods take events and apply them.")
    resources: Resources = Field(default=Resources(), description="CPU and memory of each pod.")
    max_backlog: int = Field(
        default=100_000,
        ge=100,
        le=10_000_000,
        description="Events that may wait to be applied; more are answered 429 with Retry-After.",
    )
    dead_letters: int = Field(
        default=10_000, ge=100, le=1_000_000, description="Refused events that are kept, the newest."
    )


class ServingLog(Element):
    """A record of the feature vectors that were served, by request id, so that training uses what was served."""

    max_entries: int = Field(
        default=10_000, ge=100, le=10_000_000, description="Requests that are kept, the newest."
    )


class FeatureStoreSpec(Element):
    """Where features live. Without `redis` the store has a Redis of its own."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.redis) || !has(self.embedded)",
            "a store is either embedded or a redis of your own: remove one of the two",
        ),
    )

    description: Text | None = Field(default=None, description="What the store is for.")
    embedded: Embedded | None = Field(
        default=None, description="A Redis of the store's own; this is what a store is unless redis is set."
    )
    redis: Redis | None = Field(default=None, description="A Redis of your own, by URL and Secret.")
    ingest: Ingest = Field(default=Ingest(), description="The pods that take events and apply them.")
    serving_log: ServingLog | None = Field(
        default=None, description="Keep what was served; not kept when it is not set."
    )
    max_lag: Span = Field(
        default="10s",
        description="How old the oldest waiting event may be before features of streams count as STALE.",
    )
