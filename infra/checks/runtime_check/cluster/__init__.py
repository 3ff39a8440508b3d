"""The production overlay as processes: pods, policies, and the servers that the cluster provides."""
