"""Networks: backbones (timm or registered), pooling, necks and heads, with their weights."""
