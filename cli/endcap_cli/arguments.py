# SPDX-License-Identifier: Apache-2.0
"""The command line's words: every command, its options and its help.

Apart from what the commands do, so that `endcap --help` answers at once and `validate` needs no library for S3.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from endcap_cli.experiment_arguments import add_experiment
from endcap_cli.feature_arguments import EVENTS_PORT, add_events, add_features

DESCRIPTION = """\
Endcap serves models and inference graphs that are written as YAML.

  endcap validate examples/01-basket       check the files, without a cluster
  endcap run examples/01-basket            serve them on this machine, without a cluster
  endcap plan examples/01-basket           show what the operator would make of them
  endcap model push ranker.txt s3://models/ranker/5.txt --update models.yaml
  endcap events send events.jsonl          bring events into a feature store
  endcap features get product product_id=12
  endcap experiment status ranker-v2        how an experiment stands, and what its figures mean
"""
VALIDATE = """\
Check the resources in files and folders with the same code as the cluster: the shape of every field, the
types of every expression, models and features against the steps that name them, bundles against their views.
Needs no cluster. One line a problem, exit status 1 when there are any.
"""
RUN = """\
Serve the resources of a folder on this machine, without a cluster: the same servers, each in a process of its
own, with the same checks; a FeatureStore gets a Redis that ends with the run. Edits of the YAML files are
followed while it runs: a new version of a model takes over when it is ready, and what does not work changes
nothing.
"""
RUN_STORE = """\
Artefacts at s3://bucket/key are read from STORE/bucket/key (DIR/store by default); without such a folder,
from the S3 server that ENDCAP_S3_ENDPOINT names. Other artefacts come from where their URI says.
Ctrl-C ends everything that was started.
"""
PLAN = """\
Show what the operator would make of resources.

Without a cluster, the manifests as YAML. With one (--kubeconfig, KUBECONFIG or ~/.kube/config), the
difference between what is there and what would be, as the API server itself works it out in a dry run.
Nothing is written.
"""
PUSH = """\
Put a model file or a folder (packed as an archive) into the store under a new version, checked the way
a pod checks it, and print the two lines that a resource needs. A version never changes: pushing other
bytes under the same name is refused, pushing the same again does nothing.
"""
LIST = "List the versions of models and catalogues in a store, with their digests."
STORE = """\
The store is --store DIR (a folder, as endcap run reads it) or --endpoint URL (an S3 server, with
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY); ENDCAP_LOCAL_STORE and ENDCAP_S3_ENDPOINT stand for them.
"""
PATHS = "files, folders of *.yaml, or - for standard input"
HIGHEST_PORT = 65535 - 64  # room for further graphs

_Commands = argparse._SubParsersAction  # noqa: SLF001  argparse gives its type no public name


def parser() -> argparse.ArgumentParser:
    """`run` of what it parses is the function that does it, as `module:function`."""
    whole = argparse.ArgumentParser(
        prog="endcap", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    adding = (_add_validate, _add_run, _add_plan, _add_model, add_features, add_events, add_experiment)
    for add in (*adding, _add_version):
        add(commands)
    return whole


def _command(
    commands: _Commands[argparse.ArgumentParser], name: str, short: str, description: str, epilog: str = ""
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=short,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_validate(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _command(commands, "validate", "check resources in files, as the cluster would", VALIDATE)
    command.add_argument("paths", nargs="+", metavar="FILE|DIR", help=PATHS)
    command.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="text (default) or json"
    )
    command.set_defaults(run="endcap_cli.validate:run")


def _add_run(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _command(commands, "run", "serve resources on this machine, without a cluster", RUN, RUN_STORE)
    command.add_argument("directory", type=Path, metavar="DIR", help="folder with the YAML files")
    command.add_argument("--port", type=_port, default=8080, help="port of the first graph (default 8080)")
    command.add_argument("--store", type=Path, metavar="STORE", help="folder for S3 (default DIR/store)")
    command.add_argument(
        "--events-port",
        type=_port,
        default=EVENTS_PORT,
        metavar="PORT",
        help=f"where the first FeatureStore takes events (default {EVENTS_PORT})",
    )
    command.add_argument(
        "--once", action="store_true", help="send DIR/request.json, print the answer and end"
    )
    command.set_defaults(run="endcap_cli.run.command:run")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number such as 8080")
    return int(text)


def _add_plan(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _command(commands, "plan", "show what the operator would make of resources", PLAN)
    command.add_argument("paths", nargs="+", metavar="FILE|DIR", help=PATHS)
    command.add_argument("-n", "--namespace", metavar="NAME", help="namespace of resources that name none")
    command.add_argument("--kubeconfig", metavar="FILE", help="the cluster to compare with")
    command.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
    command.add_argument("--offline", action="store_true", help="print the manifests and ask no cluster")
    command.add_argument("--images", metavar="python=…,graph=…", help="images of pods; else the operator's")
    command.set_defaults(run="endcap_cli.plan:run")


def _add_model(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("model", help="push and list versions of models")
    actions = command.add_subparsers(title="commands", metavar="COMMAND", required=True)
    push = _command(actions, "push", "put a new version into the store", PUSH, STORE)
    push.add_argument("path", type=Path, metavar="PATH", help="a model file, or a folder to pack")
    push.add_argument("uri", metavar="URI", help="where to put it, e.g. s3://models/basket-ranker/4.tar.gz")
    push.add_argument("--update", type=Path, metavar="FILE", help="write URI and digest into this YAML file")
    push.set_defaults(run="endcap_cli.model:run_push")
    listed = _command(actions, "list", "list the versions in the store", LIST, STORE)
    listed.add_argument("prefix", metavar="PREFIX", help="e.g. s3://models/ or s3://models/basket-ranker/")
    listed.set_defaults(run="endcap_cli.model:run_list")
    for action in (push, listed):
        place = action.add_mutually_exclusive_group()
        place.add_argument("--store", metavar="DIR", help="a folder that stands for the store")
        place.add_argument("--endpoint", metavar="URL", help="an S3 server")


def _add_version(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("version", help="print the version of Endcap and of its API")
    command.set_defaults(run="endcap_cli.version:run")
