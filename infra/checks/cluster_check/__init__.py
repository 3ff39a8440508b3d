"""Walks the runbook on a control plane of Kubernetes that runs as processes of this machine."""
