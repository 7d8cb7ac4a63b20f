-- Usage statistics ask whether a device key's machine holds an activation.
CREATE INDEX devices_by_key ON devices (jkt);
CREATE INDEX activations_by_machine ON activations (machine) WHERE ended IS NULL;
