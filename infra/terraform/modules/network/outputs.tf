output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "public_subnet_ids" {
  description = "Subnets of the load balancer, by zone."
  value       = { for zone in var.zones : zone => aws_subnet.public[zone].id }
}

output "private_subnet_ids" {
  description = "Subnets of the nodes, by zone."
  value       = { for zone in var.zones : zone => aws_subnet.private[zone].id }
}

output "database_subnet_ids" {
  description = "Subnets of the database, by zone."
  value       = { for zone in var.zones : zone => aws_subnet.database[zone].id }
}

output "public_cidr" {
  description = "Range around the public subnets: where the load balancer's requests come from."
  value       = cidrsubnet(var.cidr, 6, 0)
}

output "database_cidr" {
  description = "Range around the database subnets."
  value       = cidrsubnet(var.cidr, 6, 2)
}

output "nat_gateway_ids" {
  description = "NAT gateways, by zone."
  value       = { for zone in keys(local.nat_zones) : zone => aws_nat_gateway.this[zone].id }
}

output "nat_addresses" {
  description = "Addresses that everything inside is seen with from outside; mail relays may ask for them."
  value       = [for zone in keys(local.nat_zones) : aws_eip.nat[zone].public_ip]
}
