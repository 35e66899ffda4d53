"""VQ-VAEs and priors over their codes, on images of digits and clothes."""
