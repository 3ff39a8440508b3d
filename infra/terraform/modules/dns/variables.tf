variable "domain" {
  description = "Domain of this environment, like staging.tickbell.example. A zone of its own is made for it."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain))
    error_message = "A domain in lower case, without a dot at the end."
  }
}

variable "name" {
  description = "Prefix of every name, like tickbell-staging."
  type        = string
}

variable "distribution" {
  description = "CloudFront distribution of the dashboard, which also stands in for the API."
  type = object({
    id             = string
    domain_name    = string
    hosted_zone_id = string
  })
}

variable "site_distribution" {
  description = "CloudFront distribution of the page of prices; null where there is none."
  type = object({
    domain_name    = string
    hosted_zone_id = string
  })
  default = null
}

variable "load_balancer_name" {
  description = "Load balancer that the cluster has made; null until it has, and then the API's address is published."
  type        = string
  default     = null

  validation {
    condition     = var.load_balancer_name == null || can(regex("^[a-zA-Z0-9-]{1,32}$", var.load_balancer_name))
    error_message = "A load balancer's name is 1 to 32 of letters, digits and -."
  }
}

variable "health_path" {
  description = "Path whose answer proves the gateway and its database from outside."
  type        = string
  default     = "/v1/prices"

  validation {
    condition     = startswith(var.health_path, "/")
    error_message = "A path begins with /."
  }
}
