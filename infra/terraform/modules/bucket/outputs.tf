output "name" {
  description = "The bucket."
  value       = aws_s3_bucket.this.bucket
}

output "arn" {
  description = "The bucket's ARN."
  value       = aws_s3_bucket.this.arn
}

output "regional_domain_name" {
  description = "Host name for CloudFront's origin."
  value       = aws_s3_bucket.this.bucket_regional_domain_name
}
