# SPDX-License-Identifier: Apache-2.0
"""What an Experiment has decided, what it decides next, and what follows for the cluster."""
