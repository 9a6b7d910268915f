"""The one training loop: accumulate, freeze, schedule, save, resume; predict and embed."""
