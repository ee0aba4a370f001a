// Echo by Go's net, on TCP, Unix and UDP. Prints where it listens.
package main

import (
	"fmt"
	"net"
	"os"
)

func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 64<<10)
	for {
		length, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:length]); err != nil {
			return
		}
	}
}

func serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			continue
		}
		go echo(connection)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func main() {
	tcp := must(net.Listen("tcp", "127.0.0.1:0"))
	unix := must(net.Listen("unix", os.Args[1]))
	udp := must(net.ListenPacket("udp", "127.0.0.1:0"))
	fmt.Printf("listening tcp://%s\n", tcp.Addr())
	fmt.Printf("listening unix://%s\n", os.Args[1])
	fmt.Printf("listening udp://%s\n", udp.LocalAddr())
	go serve(unix)
	go func() {
		buffer := make([]byte, 8192)
		for {
			if length, client, err := udp.ReadFrom(buffer); err == nil {
				udp.WriteTo(buffer[:length], client)
			}
		}
	}()
	serve(tcp)
}
