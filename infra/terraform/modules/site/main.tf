# The page of prices as files: a bucket with two copies, green and blue, and the pointer index.html that leads to the live one.
# `tickbell site promote` switches the pointer, so nothing here knows which copy is live.

locals {
  colours = toset(["blue", "green"])
}

data "aws_partition" "current" {}

data "aws_iam_policy_document" "read" {
  statement {
    sid       = "OnlyThisDistribution"
    actions   = ["s3:GetObject"]
    resources = ["arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*"]

    principals {
      type        = "Service"
      identifiers = ["cloudfront.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudfront_distribution.this.arn]
    }
  }
}

# A page is written every few minutes, so old versions go soon.
module "bucket" {
  source = "../bucket"

  name                  = var.bucket_name
  policy_documents      = [data.aws_iam_policy_document.read.json]
  access_log_bucket     = var.log_bucket.name
  old_versions_days     = 2
  destroy_with_contents = var.destroy_with_contents
}

resource "aws_cloudfront_origin_access_control" "this" {
  name                              = "${var.name}-site"
  description                       = "Signs every request to the bucket of ${var.name}-site"
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_response_headers_policy" "this" {
  # checkov:skip=CKV_AWS_259: All but preload, which is a promise about the whole domain that only its owner can give.
  name    = "${var.name}-site"
  comment = "What the page of prices may do"

  security_headers_config {
    strict_transport_security {
      access_control_max_age_sec = 63072000
      include_subdomains         = true
      preload                    = false
      override                   = true
    }

    # The page itself names the hash of its style, which is another one in each version.
    content_security_policy {
      content_security_policy = join("; ", [
        "script-src 'none'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
      ])
      override = true
    }

    content_type_options {
      override = true
    }

    frame_options {
      frame_option = "DENY"
      override     = true
    }

    referrer_policy {
      referrer_policy = "no-referrer"
      override        = true
    }
  }
}

# AWS's own policy, which does what Cache-Control of an object says: 60 s for a page, and none for the pointer.
data "aws_cloudfront_cache_policy" "optimized" {
  name = "Managed-CachingOptimized"
}

resource "aws_cloudfront_distribution" "this" {
  # checkov:skip=CKV_AWS_86: Logs go by the newer delivery below, which needs no ACL on the bucket.
  # checkov:skip=CKV_AWS_68: Public files that are read only.
  # checkov:skip=CKV2_AWS_47: The same.
  # checkov:skip=CKV_AWS_310: One origin: S3 spans three zones itself, and the two copies are switched by the pointer.
  # checkov:skip=CKV_AWS_374: For readers everywhere.
  comment             = "${var.name}: page of prices"
  enabled             = true
  is_ipv6_enabled     = true
  http_version        = "http2and3"
  price_class         = var.price_class
  default_root_object = "index.html"
  aliases             = [var.host]

  origin {
    origin_id                = "site"
    domain_name              = module.bucket.regional_domain_name
    origin_access_control_id = aws_cloudfront_origin_access_control.this.id
  }

  default_cache_behavior {
    target_origin_id           = "site"
    viewer_protocol_policy     = "redirect-to-https"
    cache_policy_id            = data.aws_cloudfront_cache_policy.optimized.id
    response_headers_policy_id = aws_cloudfront_response_headers_policy.this.id
    compress                   = true
    allowed_methods            = ["GET", "HEAD"]
    cached_methods             = ["GET", "HEAD"]
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    acm_certificate_arn      = var.certificate_arn
    minimum_protocol_version = "TLSv1.2_2021"
    ssl_support_method       = "sni-only"
  }
}

# CloudFront hands its logs out in us-east-1, into a bucket of any region.
resource "aws_cloudwatch_log_delivery_source" "this" {
  region       = "us-east-1"
  name         = "${var.name}-site"
  log_type     = "ACCESS_LOGS"
  resource_arn = aws_cloudfront_distribution.this.arn
}

resource "aws_cloudwatch_log_delivery_destination" "this" {
  region        = "us-east-1"
  name          = "${var.name}-site"
  output_format = "json"

  delivery_destination_configuration {
    destination_resource_arn = "${var.log_bucket.arn}/cdn"
  }
}

resource "aws_cloudwatch_log_delivery" "this" {
  region                   = "us-east-1"
  delivery_source_name     = aws_cloudwatch_log_delivery_source.this.name
  delivery_destination_arn = aws_cloudwatch_log_delivery_destination.this.arn
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
