output "zone" {
  description = "The hosted zone: its ARN and its name."
  value = {
    arn  = aws_route53_zone.this.arn
    name = aws_route53_zone.this.name
  }
}

output "name_servers" {
  description = "Name servers that the parent domain must delegate to."
  value       = aws_route53_zone.this.name_servers
}

output "hosts" {
  description = "Host names of the dashboard, of the API and of the page of prices."
  value       = local.hosts
}

output "reserved_records" {
  description = "Names that Terraform writes, and external-dns must not."
  value = concat(
    [var.domain],
    values(local.hosts),
    [for host in keys(local.hosts) : trimsuffix(aws_route53_record.proof[host].name, ".")],
  )
}

output "api_certificate_arn" {
  description = "Valid certificate of the API in this region; the Ingress names it."
  value       = aws_acm_certificate_validation.api.certificate_arn
}

output "edge_certificate_arn" {
  description = "Valid certificate of all hosts in us-east-1."
  value       = aws_acm_certificate_validation.edge.certificate_arn
}

output "health_check_id" {
  description = "Health check of the API; null until it is published."
  value       = one(aws_route53_health_check.api[*].id)
}

output "load_balancer" {
  description = "Part of the load balancer's ARN that CloudWatch knows it by; null until the API is published."
  value       = one(data.aws_lb.api[*].arn_suffix)
}
