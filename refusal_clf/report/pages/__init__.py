"""What each command's `report.html` shows; `report.page` is the skeleton that they share."""
