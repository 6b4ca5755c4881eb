"""Rules of analytics; pure. What is money is exact."""
