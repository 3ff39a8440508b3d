output "bucket" {
  description = "The bucket: its name and its ARN."
  value = {
    name = module.bucket.name
    arn  = module.bucket.arn
  }
}

output "distribution" {
  description = "The distribution: its id, its host name, and the hosted zone for alias records."
  value = {
    id             = aws_cloudfront_distribution.this.id
    domain_name    = aws_cloudfront_distribution.this.domain_name
    hosted_zone_id = aws_cloudfront_distribution.this.hosted_zone_id
  }
}

output "distribution_arn" {
  description = "The distribution's ARN."
  value       = aws_cloudfront_distribution.this.arn
}
