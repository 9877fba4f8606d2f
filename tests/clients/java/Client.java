// A client in Java, with its standard library alone: chat, messages and content; whole, streamed, with tools, refused, at once.
// Standard output has all that the provider answered; standard error who issued the other end's certificate.

import java.io.IOException;
import java.io.PrintStream;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import javax.net.ssl.HttpsURLConnection;

public final class Client {
    private static final String CHAT = "https://api.openai.com/v1/chat/completions";
    private static final String MESSAGES = "https://api.anthropic.com/v1/messages";
    private static final String MODEL = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:";
    private static final Map<String, String[]> KEYS = Map.of(
            "api.openai.com", new String[] {"authorization", "Bearer sk-not-a-real-key"},
            "api.anthropic.com", new String[] {"x-api-key", "sk-ant-not-a-real-key"},
            "generativelanguage.googleapis.com", new String[] {"x-goog-api-key", "not-a-real-key"});
    // They belong to one hop.
    private static final List<String> HOP = List.of(":status", "connection", "keep-alive", "transfer-encoding");

    private static final String USER = "{'role':'user','content':'Say “naïve 漢字 🚦”, please.'}";
    private static final String SCHEMA = "{'type':'object','properties':{'city':{'type':'string'},'days':{'type':'integer'}}}";

    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    private static HttpClient client;

    public static void main(String[] arguments) throws Exception {
        client = HttpClient.newBuilder().version(HttpClient.Version.valueOf(arguments[0])).build();
        openai();
        anthropic();
        gemini();
        atOnce();
        older();
    }

    private static void openai() throws Exception {
        String head = "{'model':'gpt-4o-mini',";
        String streamed = "'stream':true,'stream_options':{'include_usage':true},";
        String tools = "'tools':[{'type':'function','function':{'name':'weather','parameters':" + SCHEMA + "}}],";
        ask("chat", CHAT, head + "'messages':[" + USER + "]}");
        ask("chat, streamed", CHAT, head + streamed + "'messages':[" + USER + "]}");
        String first = ask("chat with a tool", CHAT, head + tools + "'messages':[" + USER + "]}");
        String call = find("\"id\": \"(call_\\w+)\"", first);
        String called = "{'role':'assistant','tool_calls':[{'id':'" + call
                + "','type':'function','function':{'name':'weather','arguments':'{}'}}]}";
        String result = "{'role':'tool','tool_call_id':'" + call + "','content':'Rain'}";
        ask("chat with a tool's result, streamed", CHAT,
                head + streamed + tools + "'messages':[" + USER + "," + called + "," + result + "]}");
        ask("refused", CHAT, "{'model':'gpt-4o-mini+500','messages':[" + USER + "]}");
    }

    private static void anthropic() throws Exception {
        String head = "{'model':'claude-sonnet-4-5','max_tokens':1000,";
        String tools = "'tools':[{'name':'weather','input_schema':" + SCHEMA + "}],";
        ask("message", MESSAGES, head + "'messages':[" + USER + "]}");
        String first = ask("message with a tool", MESSAGES, head + tools + "'messages':[" + USER + "]}");
        String call = find("\"id\":\"(toolu_\\w+)\"", first);
        String called = "{'role':'assistant','content':[{'type':'tool_use','id':'" + call + "','name':'weather','input':{}}]}";
        String result = "{'role':'user','content':[{'type':'tool_result','tool_use_id':'" + call + "','content':'Rain'}]}";
        ask("message with a tool's result, streamed", MESSAGES,
                head + "'stream':true," + tools + "'messages':[" + USER + "," + called + "," + result + "]}");
    }

    private static void gemini() throws Exception {
        String user = "{'role':'user','parts':[{'text':'Say “naïve 漢字 🚦”, please.'}]}";
        String tools = "'tools':[{'functionDeclarations':[{'name':'weather','parameters':" + SCHEMA + "}]}],";
        String first = ask("content with a function", MODEL + "generateContent", "{" + tools + "'contents':[" + user + "]}");
        String name = find("\"name\": \"(weather)\"", first);
        String called = "{'role':'model','parts':[{'functionCall':{'name':'" + name + "','args':{}}}]}";
        String result = "{'role':'user','parts':[{'functionResponse':{'name':'" + name + "','response':{'result':'Rain'}}}]}";
        ask("content with a function's result, streamed", MODEL + "streamGenerateContent?alt=sse",
                "{" + tools + "'contents':[" + user + "," + called + "," + result + "]}");
    }

    /** Eight requests that HTTP/2 puts on one connection. */
    private static void atOnce() {
        OUT.println("== eight at once");
        List<CompletableFuture<HttpResponse<String>>> all = IntStream.range(0, 8).mapToObj(number -> {
            String body = "{'model':'gpt-4o-mini','stream':true,'stream_options':{'include_usage':true},"
                    + "'messages':[{'role':'user','content':'Number " + number + "'}]}";
            return client.sendAsync(request(CHAT, body), HttpResponse.BodyHandlers.ofString());
        }).collect(Collectors.toList());
        all.forEach(answer -> OUT.println(answer.join().body()));
    }

    /** The client that Java had before, which older libraries use; HTTP/1.1 alone. */
    private static void older() throws IOException {
        OUT.println("== with the older client");
        HttpsURLConnection connection = (HttpsURLConnection) new URL(CHAT).openConnection();
        connection.setDoOutput(true);
        connection.setRequestProperty("content-type", "application/json");
        connection.setRequestProperty("authorization", "Bearer sk-not-a-real-key");
        connection.getOutputStream().write(json("{'model':'gpt-4o-mini','messages':[" + USER + "]}").getBytes(StandardCharsets.UTF_8));
        OUT.println(connection.getResponseMessage());
        OUT.write(connection.getInputStream().readAllBytes());
        issuer(connection.getServerCertificates()[0]);
    }

    private static String ask(String name, String url, String body) throws Exception {
        OUT.println("== " + name);
        HttpResponse<java.io.InputStream> response = client.send(request(url, body), HttpResponse.BodyHandlers.ofInputStream());
        OUT.println(response.version() + " " + response.statusCode());
        new TreeMap<>(response.headers().map()).forEach((key, values) -> {
            if (!HOP.contains(key)) OUT.println(key + ": " + values);
        });
        String answer = new String(response.body().readAllBytes(), StandardCharsets.UTF_8);
        OUT.println(answer);
        issuer(response.sslSession().orElseThrow().getPeerCertificates()[0]);
        return answer;
    }

    private static HttpRequest request(String url, String body) {
        URI uri = URI.create(url);
        return HttpRequest.newBuilder(uri)
                .header("content-type", "application/json")
                .headers(KEYS.get(uri.getHost()))
                .POST(HttpRequest.BodyPublishers.ofString(json(body)))
                .build();
    }

    /** Java has no other quotation mark that needs no backslash. */
    private static String json(String text) {
        return text.replace('\'', '"');
    }

    private static String find(String pattern, String text) {
        var matcher = Pattern.compile(pattern).matcher(text);
        if (!matcher.find()) throw new IllegalStateException("the stand-in calls tools, but not in " + text);
        return matcher.group(1);
    }

    private static void issuer(Certificate certificate) {
        System.err.println("issuer " + ((X509Certificate) certificate).getIssuerX500Principal());
    }
}
