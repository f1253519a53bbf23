"""Why a packet from one place arrives at another, or does not: the way it would take, step by step."""
