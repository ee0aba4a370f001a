(component
  (core module $m (memory 2) (table 7 funcref) (func (export "f")) (@custom "wharf:manifest" "listen = 1"))
  (core instance $i (instantiate $m))
  (component $inner (type (func)))
  (export "wharf:handler/stream-handler@0.1.0" (core module $m)))
