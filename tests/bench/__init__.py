"""How fast the tool itself is. Run by hand and by CI; it prints and judges nothing: a busy machine is no defect."""
