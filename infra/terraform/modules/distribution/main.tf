# Files in a private bucket that only one distribution may read: what the dashboard and the page of prices have in common.

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

module "bucket" {
  source = "../bucket"

  name                  = var.bucket_name
  policy_documents      = [data.aws_iam_policy_document.read.json]
  access_log_bucket     = var.log_bucket.name
  old_versions_days     = var.old_versions_days
  destroy_with_contents = var.destroy_with_contents
}

resource "aws_cloudfront_origin_access_control" "this" {
  name                              = var.name
  description                       = "Signs every request to the bucket of ${var.name}"
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_response_headers_policy" "this" {
  # checkov:skip=CKV_AWS_259: All but preload, which is a promise about the whole domain that only its owner can give.
  name    = var.name
  comment = var.headers.comment

  security_headers_config {
    strict_transport_security {
      access_control_max_age_sec = 63072000
      include_subdomains         = true
      preload                    = false
      override                   = true
    }

    content_security_policy {
      content_security_policy = join("; ", var.headers.content_security)
      override                = true
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

  dynamic "custom_headers_config" {
    for_each = var.headers.permissions == null ? [] : [var.headers.permissions]

    content {
      items {
        header   = "permissions-policy"
        value    = custom_headers_config.value
        override = true
      }
    }
  }
}

# AWS's own policy, by name, because its id says nothing to a reader. It does what Cache-Control of an object says.
data "aws_cloudfront_cache_policy" "optimized" {
  name = "Managed-CachingOptimized"
}

resource "aws_cloudfront_distribution" "this" {
  # checkov:skip=CKV_AWS_86: Logs go by the newer delivery below, which needs no ACL on the bucket.
  # checkov:skip=CKV_AWS_68: Public files that are read only, and a fixed answer; the firewall stands before the gateway.
  # checkov:skip=CKV2_AWS_47: The same.
  # checkov:skip=CKV_AWS_310: One origin: S3 spans three zones itself.
  # checkov:skip=CKV_AWS_374: For readers everywhere.
  comment             = var.comment
  enabled             = true
  is_ipv6_enabled     = true
  http_version        = "http2and3"
  price_class         = var.price_class
  default_root_object = "index.html"
  aliases             = var.hosts

  origin {
    origin_id                = var.origin_id
    domain_name              = module.bucket.regional_domain_name
    origin_access_control_id = aws_cloudfront_origin_access_control.this.id
  }

  default_cache_behavior {
    target_origin_id           = var.origin_id
    viewer_protocol_policy     = "redirect-to-https"
    cache_policy_id            = data.aws_cloudfront_cache_policy.optimized.id
    response_headers_policy_id = aws_cloudfront_response_headers_policy.this.id
    compress                   = true
    allowed_methods            = var.allowed_methods
    cached_methods             = ["GET", "HEAD"]

    # A list, because its length is known before the function is made.
    dynamic "function_association" {
      for_each = var.request_functions

      content {
        event_type   = "viewer-request"
        function_arn = function_association.value
      }
    }
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
  name         = var.log_name
  log_type     = "ACCESS_LOGS"
  resource_arn = aws_cloudfront_distribution.this.arn
}

resource "aws_cloudwatch_log_delivery_destination" "this" {
  region        = "us-east-1"
  name          = var.log_name
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
