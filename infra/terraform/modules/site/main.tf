# The page of prices as files: a bucket with two copies, green and blue, and the pointer index.html that leads to the live one.
# `tickbell site promote` switches the pointer, so nothing here knows which copy is live.

locals {
  colours = toset(["blue", "green"])
}

module "distribution" {
  source = "../distribution"

  name        = "${var.name}-site"
  log_name    = "${var.name}-site"
  comment     = "${var.name}: page of prices"
  bucket_name = var.bucket_name
  # A page is written every few minutes, so old versions go soon.
  old_versions_days     = 2
  origin_id             = "site"
  hosts                 = [var.host]
  certificate_arn       = var.certificate_arn
  log_bucket            = var.log_bucket
  price_class           = var.price_class
  destroy_with_contents = var.destroy_with_contents

  headers = {
    comment = "What the page of prices may do"
    # The page itself names the hash of its style, which is another one in each version.
    content_security = [
      "script-src 'none'",
      "object-src 'none'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ]
  }
}

# Both copies are watched from outside, also the one that is not live: a rollback returns to it.
resource "aws_route53_health_check" "copy" {
  for_each = local.colours

  fqdn              = var.host
  type              = "HTTPS_STR_MATCH"
  port              = 443
  resource_path     = "/${each.key}/index.html"
  search_string     = "Latest prices"
  enable_sni        = true
  request_interval  = 30
  failure_threshold = 3
  regions           = ["eu-west-1", "us-east-1", "ap-southeast-1"]

  tags = { Name = "${var.name}-site-${each.key}" }
}
