# The zone, its certificates and its addresses: app.<domain> is the dashboard, api.<domain> the gateway, prices.<domain> the page of
# prices.

locals {
  hosts = {
    dashboard = "app.${var.domain}"
    api       = "api.${var.domain}"
    prices    = "prices.${var.domain}"
  }

  proofs = { for proof in aws_acm_certificate.edge.domain_validation_options : proof.domain_name => proof }
}

resource "aws_route53_zone" "this" {
  # checkov:skip=CKV2_AWS_38: DNSSEC needs the parent zone's part first (README.md, "What is left to you").
  # checkov:skip=CKV2_AWS_39: Queries name two public hosts only, and no one would evaluate a log of who resolves them.
  name    = var.domain
  comment = "${var.name}, by Terraform and external-dns"
}

# Only Amazon may issue certificates for this domain.
resource "aws_route53_record" "caa" {
  zone_id = aws_route53_zone.this.zone_id
  name    = var.domain
  type    = "CAA"
  ttl     = 3600
  records = [
    "0 issue \"amazon.com\"",
    "0 issuewild \";\"",
  ]
}

# The load balancer's, in this region.
resource "aws_acm_certificate" "api" {
  domain_name       = local.hosts.api
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

# CloudFront's, which only looks in us-east-1.
resource "aws_acm_certificate" "edge" {
  region                    = "us-east-1"
  domain_name               = local.hosts.dashboard
  subject_alternative_names = [local.hosts.api, local.hosts.prices]
  validation_method         = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

# One proof per host serves the certificates of both regions.
resource "aws_route53_record" "proof" {
  for_each = local.hosts

  zone_id         = aws_route53_zone.this.zone_id
  name            = local.proofs[each.value].resource_record_name
  type            = "CNAME"
  ttl             = 300
  records         = [local.proofs[each.value].resource_record_value]
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "api" {
  certificate_arn         = aws_acm_certificate.api.arn
  validation_record_fqdns = [aws_route53_record.proof["api"].fqdn]
}

resource "aws_acm_certificate_validation" "edge" {
  region                  = "us-east-1"
  certificate_arn         = aws_acm_certificate.edge.arn
  validation_record_fqdns = [for host in keys(local.hosts) : aws_route53_record.proof[host].fqdn]
}

resource "aws_route53_record" "dashboard" {
  for_each = toset(["A", "AAAA"])

  zone_id = aws_route53_zone.this.zone_id
  name    = local.hosts.dashboard
  type    = each.key

  alias {
    name                   = var.distribution.domain_name
    zone_id                = var.distribution.hosted_zone_id
    evaluate_target_health = false
  }
}

resource "aws_route53_record" "prices" {
  for_each = var.site_distribution == null ? toset([]) : toset(["A", "AAAA"])

  zone_id = aws_route53_zone.this.zone_id
  name    = local.hosts.prices
  type    = each.key

  alias {
    name                   = var.site_distribution.domain_name
    zone_id                = var.site_distribution.hosted_zone_id
    evaluate_target_health = false
  }
}

# The cluster makes the load balancer, so it is looked up by its name.
data "aws_lb" "api" {
  count = var.load_balancer_name == null ? 0 : 1

  name = var.load_balancer_name
}

# First: the load balancer, as long as it has a healthy gateway behind it.
resource "aws_route53_record" "api" {
  count = length(data.aws_lb.api)

  zone_id        = aws_route53_zone.this.zone_id
  name           = local.hosts.api
  type           = "A"
  set_identifier = "gateway"

  failover_routing_policy {
    type = "PRIMARY"
  }

  alias {
    name                   = data.aws_lb.api[0].dns_name
    zone_id                = data.aws_lb.api[0].zone_id
    evaluate_target_health = true
  }
}

# Else: CloudFront, which says so in a problem document with Retry-After.
resource "aws_route53_record" "stand_in" {
  count = length(data.aws_lb.api)

  zone_id        = aws_route53_zone.this.zone_id
  name           = local.hosts.api
  type           = "A"
  set_identifier = "stand-in"

  failover_routing_policy {
    type = "SECONDARY"
  }

  alias {
    name                   = var.distribution.domain_name
    zone_id                = var.distribution.hosted_zone_id
    evaluate_target_health = false
  }
}

# The view from outside, for the alarm only. It must not steer the records above: after a failover it would ask the
# stand-in, find it unhealthy, and never let the gateway come back.
resource "aws_route53_health_check" "api" {
  count = length(data.aws_lb.api)

  fqdn              = local.hosts.api
  type              = "HTTPS"
  port              = 443
  resource_path     = var.health_path
  enable_sni        = true
  measure_latency   = true
  request_interval  = 30
  failure_threshold = 3
  regions           = ["eu-west-1", "us-east-1", "ap-southeast-1"]

  tags = { Name = "${var.name}-api" }
}
