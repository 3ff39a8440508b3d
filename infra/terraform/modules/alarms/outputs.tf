output "topic_arn" {
  description = "Topic of all alarms of this region."
  value       = aws_sns_topic.this["home"].arn
}
