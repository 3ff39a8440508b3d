output "tickbell" {
  description = "The values that the cluster's charts, DNS and operators need, without secrets."
  value       = module.tickbell
}
