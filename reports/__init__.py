"""What a person reads to choose: tables, costs, plots and pages made from run files."""
