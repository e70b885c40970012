"""What a run trains on and is measured by: values, made from the recipe before the first step."""
