output "security_group_id" {
  description = "Group of the load balancer; the Ingress names it."
  value       = aws_security_group.load_balancer.id
}

output "web_acl_arn" {
  description = "Firewall of the load balancer; the Ingress names it."
  value       = aws_wafv2_web_acl.this.arn
}
