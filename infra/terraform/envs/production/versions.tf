terraform {
  required_version = "~> 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }

  # Bucket and region are given to `terraform init` (README.md): they name the account. The lock is an object beside
  # the state, so no table is needed.
  backend "s3" {
    key          = "production/terraform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

# Credentials come from the role that the shell or the pipeline has taken, never from here.
provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      Project     = "tickbell"
      Environment = "production"
      ManagedBy   = "terraform"
    }
  }
}
