output "name" {
  description = "The cluster."
  value       = aws_eks_cluster.this.name
}

output "arn" {
  description = "The cluster's ARN."
  value       = aws_eks_cluster.this.arn
}

output "oidc" {
  description = "The identity provider behind IRSA: its ARN, and its issuer without https://."
  value       = local.oidc
}

output "node_security_group_id" {
  description = "Group of all nodes and, with this network plugin, of all pods."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "node_group_asg_names" {
  description = "Auto scaling groups that the autoscaler may resize."
  value       = [aws_eks_node_group.services.resources[0].autoscaling_groups[0].name]
}
