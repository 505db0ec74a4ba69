# SPDX-License-Identifier: Apache-2.0
"""The one error of this package: its reason becomes a condition that a person reads, so it has a remedy."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why an artefact is not there; the words are those of the ModelDeployment's conditions."""

    REFUSED = "ArtefactRefused"
    NOT_FOUND = "ArtefactNotFound"
    UNREACHABLE = "ArtefactUnreachable"
    TOO_LARGE = "ArtefactTooLarge"
    INVALID = "ArtefactInvalid"
    DIGEST_MISMATCH = "DigestMismatch"
    PICKLE_REFUSED = "PickleRefused"


class ArtefactError(Exception):
    """An artefact could not be fetched; `message` names hosts, never credentials or query strings."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason
        self.message = message

    @property
    def passing(self) -> bool:
        """Whether trying again may help."""
        return self.reason is Reason.UNREACHABLE


def refused(message: str) -> ArtefactError:
    return ArtefactError(Reason.REFUSED, message)


def invalid(message: str) -> ArtefactError:
    return ArtefactError(Reason.INVALID, message)


def unreachable(message: str) -> ArtefactError:
    return ArtefactError(Reason.UNREACHABLE, message)


def too_large(message: str) -> ArtefactError:
    return ArtefactError(Reason.TOO_LARGE, message)


def not_found(message: str) -> ArtefactError:
    return ArtefactError(Reason.NOT_FOUND, message)
