"""What every HTML page is made of: templates, the stylesheet and the scripts."""
