# The dashboard: files in a private bucket that only this distribution may read. The same distribution answers for the
# API while no gateway is healthy (edge.js).

module "distribution" {
  source = "../distribution"

  name                  = var.name
  log_name              = "${var.name}-cdn"
  comment               = "${var.name}: dashboard, and stand-in of the API"
  bucket_name           = var.bucket_name
  old_versions_days     = 30
  origin_id             = "dashboard"
  hosts                 = [var.hosts.dashboard, var.hosts.api]
  certificate_arn       = var.certificate_arn
  log_bucket            = var.log_bucket
  price_class           = var.price_class
  destroy_with_contents = var.destroy_with_contents
  # Only for the stand-in, which refuses a POST by a problem document too.
  allowed_methods   = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
  request_functions = [aws_cloudfront_function.edge.arn]

  headers = {
    comment = "What the dashboard's pages may do"
    content_security = [
      "default-src 'self'",
      "connect-src 'self' https://${var.hosts.api}",
      "img-src 'self' data:",
      "object-src 'none'",
      "base-uri 'none'",
      "form-action 'self'",
      "frame-ancestors 'none'",
    ]
    permissions = "camera=(), geolocation=(), microphone=()"
  }
}

resource "aws_cloudfront_function" "edge" {
  name    = "${var.name}-edge"
  comment = "Pages of the dashboard, and the API's stand-in"
  runtime = "cloudfront-js-2.0"
  publish = true
  code    = templatefile("${path.module}/edge.js", { api_host = var.hosts.api })
}
