output "distribution" {
  description = "The distribution: its id, its host name, and the hosted zone for alias records."
  value       = module.distribution.distribution
}

output "distribution_arn" {
  description = "The distribution's ARN, which a release invalidates."
  value       = module.distribution.distribution_arn
}

output "bucket" {
  description = "Bucket that the dashboard is released to: its name and its ARN."
  value       = module.distribution.bucket
}
