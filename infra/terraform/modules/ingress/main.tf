# The security groups and the firewall of the load balancer. The balancer itself belongs to the AWS Load Balancer Controller, which makes it
# from the cluster's Ingress; it refers to these groups and this firewall by name, so it needs no right to
# change any security group.

resource "aws_security_group" "load_balancer" {
  # checkov:skip=CKV2_AWS_5: The controller attaches it to the load balancer that it makes.
  name        = "${var.name}-load-balancer"
  description = "The internet to the load balancer, and the load balancer to the gateway"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-load-balancer" }
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  security_group_id = aws_security_group.load_balancer.id
  description       = "HTTPS from everywhere"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "http" {
  # checkov:skip=CKV_AWS_260: Answers every request by a redirect to HTTPS.
  security_group_id = aws_security_group.load_balancer.id
  description       = "HTTP, which is only redirected to HTTPS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
}

resource "aws_vpc_security_group_egress_rule" "gateway" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "Requests and health checks to the gateway"
  referenced_security_group_id = var.node_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.gateway_port
  to_port                      = var.gateway_port
}

resource "aws_vpc_security_group_ingress_rule" "gateway" {
  security_group_id            = var.node_security_group_id
  description                  = "Requests and health checks from the load balancer"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = var.gateway_port
  to_port                      = var.gateway_port
}
