output "tickbell" {
  description = "Everything that the cluster's charts, DNS and people need to know; no secret is among it."
  value       = module.tickbell
}
