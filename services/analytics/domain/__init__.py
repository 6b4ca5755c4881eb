"""Pure rules of analytics. Amounts of money are exact."""
