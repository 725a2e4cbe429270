"""Redis Cluster: which node has what, redirections followed, one wire of ours for each node."""
