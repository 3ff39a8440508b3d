output "bucket" {
  description = "Bucket of the page: its name and its ARN."
  value       = module.distribution.bucket
}

output "distribution" {
  description = "The distribution: its host name, and the hosted zone for alias records."
  value = {
    domain_name    = module.distribution.distribution.domain_name
    hosted_zone_id = module.distribution.distribution.hosted_zone_id
  }
}

output "health_check_ids" {
  description = "Health checks of the copies, by colour."
  value       = { for colour in local.colours : colour => aws_route53_health_check.copy[colour].id }
}
