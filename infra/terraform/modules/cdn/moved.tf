# Where these resources stood before the two modules had this one in common.
moved {
  from = module.bucket
  to   = module.distribution.module.bucket
}

moved {
  from = aws_cloudfront_origin_access_control.this
  to   = module.distribution.aws_cloudfront_origin_access_control.this
}

moved {
  from = aws_cloudfront_response_headers_policy.this
  to   = module.distribution.aws_cloudfront_response_headers_policy.this
}

moved {
  from = aws_cloudfront_distribution.this
  to   = module.distribution.aws_cloudfront_distribution.this
}

moved {
  from = aws_cloudwatch_log_delivery_source.this
  to   = module.distribution.aws_cloudwatch_log_delivery_source.this
}

moved {
  from = aws_cloudwatch_log_delivery_destination.this
  to   = module.distribution.aws_cloudwatch_log_delivery_destination.this
}

moved {
  from = aws_cloudwatch_log_delivery.this
  to   = module.distribution.aws_cloudwatch_log_delivery.this
}
