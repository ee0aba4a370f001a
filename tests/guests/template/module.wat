;; The same stream handler as a core module: named as `wit-component` wants it, and with an embedded component type if
;; that is asked for. IMPORTS are the fixture's own: WASI 0.1, which the host has to adapt. HOOKS are exports.
(module
  (import "wharf:handler/connection@VERSION" "recv" (func $recv (param i32 i32)))
  (import "wharf:handler/connection@VERSION" "send" (func $send (param i32 i32 i32)))
  (import "wharf:handler/connection@VERSION" "shutdown" (func $shutdown (param i32 i32)))
  (import "wharf:handler/connection@VERSION" "set-timeout" (func $set_timeout (param i32 i64)))
  IMPORTS
  MEMORY
  ;; What was heard goes to its place. Larger requests are the WASI adapter's, for its own use: pages of their own.
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (if (result i32) (i32.le_u (local.get $size) (i32.const 1024))
      (then (i32.const 2048))
      (else
        (i32.mul (i32.const 65536)
          (memory.grow (i32.div_u (i32.add (local.get $size) (i32.const 65535)) (i32.const 65536)))))))
  BODY
  (export "wharf:handler/stream-handler@VERSION#setup" (func $setup))
  (export "wharf:handler/stream-handler@VERSION#handle" (func $handle))
  (export "wharf:handler/stream-handler@VERSION#finish" (func $finish))
  HOOKS
  EMBEDDED)
