"""What helps trainings written with other libraries; each module needs its library and is imported by its name."""
