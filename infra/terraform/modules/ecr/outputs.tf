output "arn" {
  description = "The repository's ARN."
  value       = aws_ecr_repository.this.arn
}

output "url" {
  description = "Where the image is pushed to and pulled from."
  value       = aws_ecr_repository.this.repository_url
}
