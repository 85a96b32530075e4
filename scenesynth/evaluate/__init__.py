"""What a trained encoder knows: closed-form probes, their controls, and the HEAR interface."""
